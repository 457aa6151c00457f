def pytest_configure(config):
    config.addinivalue_line("markers", "sanitized: also run with the AddressSanitizer build")
