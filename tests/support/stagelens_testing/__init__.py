"""What several rooms' tests share: further engines, a registry, programs from Debian's packages."""
