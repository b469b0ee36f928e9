SELECT set_config('search_path'::text, 'app', true)
