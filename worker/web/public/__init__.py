"""The public listener: customers connect here in a browser, in the name of whoever sent them."""
