"""The endpoints: what each of them answers to a request that was read, without HTTP."""
