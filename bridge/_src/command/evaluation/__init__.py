"""What trained models say of data, and how well."""
