"""What tests share: fakes of ports, builders, real neighbours. No tests here."""
