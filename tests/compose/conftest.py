"""The mark of tests that build images and start containers."""


def pytest_configure(config):
    config.addinivalue_line("markers", "containers: builds images and starts a Docker daemon (slow, root)")
