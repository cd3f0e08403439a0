"""Inside a network: attention, frequencies, layers and the landscape of its loss, on plain tensors.

Their inputs come from `counterpoint.diagnostics.capture`.
"""
