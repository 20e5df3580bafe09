"""What we tell strangers: the API's description, its problems, and whether we are well."""
