"""Messages above the instances: accepted, stored, handed over, and their receipts."""
