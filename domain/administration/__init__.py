"""What operators may do: the rules behind the admin API and the command line."""
