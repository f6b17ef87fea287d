"""What is kept ready so that a spawn need not wait for it."""
