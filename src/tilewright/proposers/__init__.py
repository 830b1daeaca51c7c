"""Everything that can suggest a candidate. One folder each, one small interface: `base.Proposer`."""
