"""Agents: services that hear what people do in granted rooms, and may say a word to them."""
