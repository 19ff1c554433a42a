"""A small shop's support desk: the example of django-bloonio-chat."""
