"""Tables, profiles, checks and drift, holdouts and leaks. Import from the modules: `holdfast.data.tables`, …"""
