"""Will a flight out of New York arrive more than a quarter of an hour late?"""
