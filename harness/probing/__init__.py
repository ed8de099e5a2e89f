"""What can this broker do? Its limits as announced and as measured, in a few seconds."""
