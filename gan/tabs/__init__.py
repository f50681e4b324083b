"""The app's tabs, one file each: handlers first (plain functions), then the layout that calls them."""
