"""Inside a network: attention, frequencies, layers and the landscape of its loss, on plain tensors.

The tensors come from `counterpoint.diagnostics.capture`.
"""
