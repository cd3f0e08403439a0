"""Softmax over pairs that weigh differently: by hardness, by a teacher, by an item's own temperature."""
