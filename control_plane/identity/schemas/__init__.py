"""Wire format of the room identity."""
