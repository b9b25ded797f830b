"""What a supervised fit may minimize."""
