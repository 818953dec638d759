"""The asset graph: every table as a daily asset, its checks and the jobs that run them."""
