"""What jobs that ask a service have in common: a budget of requests, retries, and a circuit breaker."""
