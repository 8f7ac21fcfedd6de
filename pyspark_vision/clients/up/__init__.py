"""All of it by one command: broker, cameras, job and page, started, watched and ended together."""
