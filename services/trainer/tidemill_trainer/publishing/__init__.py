"""How a challenger becomes a version, by the gate's word or by a person's."""
