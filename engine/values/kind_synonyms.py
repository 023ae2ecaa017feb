"""Synonyms of the built-in event kinds, as shops, analytics tools and published data sets use them.

Sources: GA4 and Universal Analytics, Segment, Shopify (web pixels and webhooks), WooCommerce, Klaviyo, Meta, Matomo,
Amazon Personalize, Recombee, Algolia, Gorse, RetailRocket, REES46 and Taobao. Case and separators are ignored. A word
that means different things to different shops is not listed here; such a shop lists the word's weight itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "view": """view views viewed view_item item_view item_viewed view_product product_view product_viewed
            viewed_product view_content content_view detail details detail_view view_detail view_details
            product_detail product_detail_view detail_page_view page_view page_viewed page_visit page_loaded screen_view
            ecommerce_view set_ecommerce_view view_cart cart_view cart_viewed visit visited browse browsed read watch
            watched play played pv""",
        "click": """click clicks clicked item_click item_clicked product_click product_clicked clicked_product
            click_product click_item select_item item_selected select_content product_selected tap tapped""",
        "cart": """cart add_to_cart added_to_cart cart_add cart_added cart_addition add_cart product_added
            added_product item_added product_added_to_cart item_added_to_cart add_item_to_cart add_product_to_cart
            add_to_shopping_cart add_ecommerce_item basket add_to_basket added_to_basket add_to_bag added_to_bag
            add_to_trolley checkout begin_checkout checkout_begin checkout_start checkout_started started_checkout
            start_checkout initiate_checkout initiated_checkout checkout_initiated add_shipping_info add_payment_info
            payment_info_entered payment_info_submitted""",
        "like": """like likes liked star stars starred heart hearted love loved fav favs favor favour favorite
            favourite favorites favourites favorited favourited add_to_favorites add_to_favourites added_to_favorites
            added_to_favourites add_to_wishlist added_to_wishlist wishlist_add product_added_to_wishlist
            item_added_to_wishlist bookmark bookmarked save saved save_for_later saved_for_later thumbs_up thumb_up
            upvote upvoted""",
        "purchase": """purchase purchases purchased product_purchased item_purchased purchase_complete
            purchase_completed complete_purchase completed_purchase ecommerce_purchase buy buys bought order orders
            ordered ordered_product product_ordered item_ordered order_completed order_complete completed_order
            complete_order order_placed place_order placed_order place_an_order order_created orders_create
            order_create order_paid orders_paid ecommerce_order track_ecommerce_order transaction transactions sale
            sales sold checkout_completed checkout_complete complete_checkout completed_checkout payment_completed
            complete_payment paid""",
        "return": """return returns returned product_returned item_returned returned_product order_returned refund
            refunds refunded product_refunded item_refunded partial_refund refunds_create refund_created order_refund
            order_refunded refunded_order chargeback cancel canceled cancelled cancellation cancelation order_cancel
            order_canceled order_cancelled orders_cancelled cancel_order canceled_order cancelled_order
            purchase_canceled purchase_cancelled""",
        "dislike": """dislike dislikes disliked thumbs_down thumb_down downvote downvoted hide hid hidden hide_item
            hide_product item_hidden product_hidden not_interested not_for_me block blocked ban banned dismiss
            dismissed reject rejected""",
        "remove_from_cart": """remove_from_cart removed_from_cart cart_remove cart_removed cart_removal remove_cart
            product_removed removed_product item_removed product_removed_from_cart item_removed_from_cart
            remove_item_from_cart remove_product_from_cart delete_from_cart remove_ecommerce_item remove_from_basket
            removed_from_basket remove_from_bag removed_from_bag remove_from_trolley uncart""",
        "unlike": """unlike unlikes unliked unstar unstarred unfav unfavor unfavour unfavorite unfavourite unfavorited
            unfavourited unlove unloved remove_like remove_from_favorites remove_from_favourites
            removed_from_favorites removed_from_favourites remove_from_wishlist removed_from_wishlist wishlist_remove
            product_removed_from_wishlist item_removed_from_wishlist unbookmark unbookmarked unsave unsaved""",
        "impression": """impression impressions impressed item_impression item_impressions product_impression
            product_impressions view_item_list item_list_view item_list_viewed product_list_view product_list_viewed
            viewed_product_list list_view list_viewed view_list view_collection collection_view collection_viewed
            view_category category_view category_viewed view_search_results view_promotion promotion_viewed exposure
            exposures exposed shown displayed""",
    }
)
