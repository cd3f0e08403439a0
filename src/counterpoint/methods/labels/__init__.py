"""Methods that learn the labels of one column: classes or tags, rare ones, wrong ones, few of them."""
