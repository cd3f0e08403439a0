"""Methods that learn from the labels of pictures: rare ones, wrong ones, few of them."""
