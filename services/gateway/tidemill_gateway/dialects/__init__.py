"""How clients speak: parsing, rendering and errors of each dialect, over the one data plane."""
