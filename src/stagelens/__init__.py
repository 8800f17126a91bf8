"""stagelens: look inside multi-stage Docker builds."""
