"""The compatibility study that asks people which patches fit: its page, its sets, its scores."""
