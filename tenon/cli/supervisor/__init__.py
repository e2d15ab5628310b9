"""The embedded platform: six services, a worker and a Redis server as supervised processes on the loopback interface."""
