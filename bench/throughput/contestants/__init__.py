"""What is measured, one program each. Every one says on its output when its work begins and when it has ended."""
