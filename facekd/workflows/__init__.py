"""What a command does, without the shell."""
