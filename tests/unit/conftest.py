# SPDX-License-Identifier: MIT
def pytest_configure(config):
    config.addinivalue_line("markers", "fast: of the handful that tests/run fast runs")
    config.addinivalue_line("markers", "sanitized: also run with the AddressSanitizer build")
