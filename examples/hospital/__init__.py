"""Three simulated hospitals: what will a visit cost, asked at the door, when the bill is known only weeks later?"""
