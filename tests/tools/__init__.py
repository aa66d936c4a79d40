"""What tests share: sources and readers in the test's hand, waiting, settings, listeners."""
