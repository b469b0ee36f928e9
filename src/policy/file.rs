//! The shapes of the policy files, exactly as operators write them. Nothing is checked here but the shape.
