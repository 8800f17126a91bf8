"""buildkit"""
