"""Inside a network: attention, frequencies, layers and the landscape of its loss, on plain tensors.

What they are measured on comes from `counterpoint.diagnostics.capture`.
"""
