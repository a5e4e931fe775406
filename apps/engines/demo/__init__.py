"""The scripted model server that ships with the product: the offline demo, and what tests talk to."""
