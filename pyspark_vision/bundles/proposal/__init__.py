"""What a file leaves open: how its outputs can be read, what a trial says, what is a guess."""
