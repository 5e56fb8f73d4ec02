"""The systems that StreamWise is compared with (section 5), each in its own file with its source."""
