"""How clients reach the registry."""
