"""Using remote stores: what they say is asked, judged and written down, and archives are begun."""
