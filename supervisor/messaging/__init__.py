"""The way of a message above the instances: accepted, handed down, and its receipts."""
