1. Drop the old plan
2. Update the roadmap
3. Delete the duplicates; keep the rest