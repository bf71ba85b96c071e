import pytest

from node.records.countries import country_named_in


@pytest.mark.parametrize(
    ("description", "country"),
    [
        ("River bank near Somewhere, Tamaulipas, Mexico", "MX"),
        ("River bank near Somewhere, Tamaulipas, M\u00c9XICO.", "MX"),
        ("Somewhere, Chiapas Mexico", "MX"),
        ("Somewhere, Oaxaca", "MX"),
        ("Bridge between One, Tamaulipas, Mexico and Two, Texas, USA", "US"),
        ("Ranch in Somewhere County, Texas (found by a neighbour)", "US"),
        ("Ranch in Somewhere, U.S.", "US"),
        ("A road, Somewhere CA", "US"),
        ("Rio Grande at Somewhere (Mexico side)", "MX"),
        ("Mexican side of a canal, California, USA", "MX"),
        ("American side of the river", "US"),
        ("Somewhere, Zacapa, Guatemala - en route to Mexico", "GT"),
        ("A hospital - after an attack in Somewhere, Peten, Guatemala", "GT"),
        ("Somewhere, Norte de Santander, Colombia, near border with Venezuela", "CO"),
        ("Somewhere, Minnesota, USA, a mile from border with Manitoba, Canada", "US"),
        ("Somewhere, Panam\u00e1", "PA"),
        ("Somewhere, Per\u00fa - en route to Brasil", "PE"),
        ("Off the coast of the Bahamas", "BS"),
        ("Off Somewhere, Turks and Caicos Islands", "TC"),
        ("Near the US Virgin Islands", "VI"),
        ("A beach, Cura\u00e7ao", "CW"),
        ("A camp, Ethiopia en route to Djibouti", "ET"),
        ("A beach, Spain after departure from the Gambia on 6 January", "ES"),
        ("Ank\u0131z, T\u00fcrkiye", "TR"),
        ("Unspecified location in Mexico", "MX"),
        ("In the states of One and Two, respectively. Mexico", "MX"),
        ("Darien Gap, between Colombia and Panama", ""),
        ("A jungle, on border with Colombia", ""),
        ("US-Mexico border", ""),
        ("A farm, 40 km south of US border", ""),
        ("Waters between Cuba and Florida", ""),
        ("Gulf of Mexico", ""),
        ("Somewhere trying to reach Puerto Rico", ""),
        ("", ""),
        (", , -  - (", ""),
    ],
)
def test_the_country_that_a_description_ends_with(description: str, country: str) -> None:
    assert country_named_in(description) == country
