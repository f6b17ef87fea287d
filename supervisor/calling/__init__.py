"""The client's end of the gateway: one call over as many connections as it takes."""
