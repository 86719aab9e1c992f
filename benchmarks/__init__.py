"""What the hub costs, measured beside a Node.js Socket.IO server that makes the same checks."""
