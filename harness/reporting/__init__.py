"""What people read: terminal, Allure."""
